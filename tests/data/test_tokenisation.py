import hashlib
import string
from importlib import resources

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from vlp.data.scenes.lexicon import WORDS
from vlp.data.tokenisation import SPECIAL_TOKENS, CaptionTokenizer, open_tokenizer, shipped_vocab_size

FROZEN = "ef95be23bef2ee532e29aca27fb29c4afe53abef018d5a264b6ef64c5e319c1b"


def test_the_shipped_vocabulary_is_frozen():
    text = resources.files("vlp.data").joinpath("vocabulary.txt").read_bytes()
    assert hashlib.sha256(text).hexdigest() == FROZEN
    assert shipped_vocab_size() == len(text.decode().splitlines())


@given(st.text(alphabet=string.printable, min_size=1, max_size=300))
def test_ascii_text_never_becomes_unknown(text):
    tokenizer = open_tokenizer()
    try:
        tokens = tokenizer.encode(text)
    except ValueError as error:
        assert not text.strip(string.whitespace), error
        return
    assert not (tokens.input_ids == tokenizer.unk_id).any()


def test_every_word_of_scenes_is_one_piece():
    tokenizer = open_tokenizer()
    assert [word for word in WORDS if word.isalnum() and len(tokenizer.encode(word)) != 3] == []


def test_specials_stand_at_both_ends_and_are_no_content():
    tokenizer = open_tokenizer()
    tokens = tokenizer.encode("A red dog .")
    assert [tokenizer.token(i) for i in tokens.input_ids.tolist()] == ["[CLS]", "a", "red", "dog", ".", "[SEP]"]
    assert tokens.special.tolist() == [True, False, False, False, False, True]
    assert tokens.word_ids.tolist() == [-1, 0, 1, 2, 3, -1]


def test_pieces_of_a_span_are_those_that_overlap_it():
    tokens = open_tokenizer().encode("the xqz dog")  # xqz is spelt in three pieces
    assert tokens.pieces(4, 7).tolist() == [2, 3, 4]
    assert tokens.pieces(4, 11).tolist() == [2, 3, 4, 5]
    assert tokens.pieces(0, 3).tolist() == [1]


def test_offsets_refer_to_the_caption_unchanged():
    caption = "  A  Red\tdog"
    tokens = open_tokenizer().encode(caption)
    spans = [caption[a:b] for a, b in tokens.offsets[~tokens.special].tolist()]
    assert spans == ["A", "Red", "dog"]


@pytest.mark.parametrize("caption", ["", "   ", "\n\t"])
def test_an_empty_caption_is_an_error_that_names_its_record(caption):
    with pytest.raises(ValueError) as error:
        open_tokenizer().encode(caption, record="sample 17")
    assert str(error.value) == f"caption of sample 17 is empty: {caption!r} has no word piece"


def test_a_caption_longer_than_the_model_is_an_error_with_both_lengths():
    with pytest.raises(ValueError) as error:
        open_tokenizer().encode("a red dog", max_pieces=4, record="sample 3")
    assert str(error.value) == "caption of sample 3 has 3 word pieces and 2 special tokens; at most 4 fit the model"


def test_replacements_are_never_special_tokens():
    tokenizer = open_tokenizer()
    names = {tokenizer.token(i) for i in tokenizer.word_ids.tolist()}
    assert not names & set(SPECIAL_TOKENS)
    assert not any(name.startswith("[unused") for name in names)
    assert len(names) == tokenizer.vocab_size - len(tokenizer.special_ids)


def test_a_folder_of_a_bert_tokenizer_is_read_unchanged(tmp_path):
    from transformers import BertTokenizerFast

    (tmp_path / "vocab.txt").write_text("\n".join([*SPECIAL_TOKENS, "a", "dog", "##s"]) + "\n")
    reference = BertTokenizerFast(str(tmp_path / "vocab.txt"))
    reference.save_pretrained(tmp_path)
    ours = open_tokenizer(str(tmp_path)).encode("A dogs")
    assert ours.input_ids.tolist() == reference("A dogs")["input_ids"]


def test_a_missing_folder_is_named():
    with pytest.raises(FileNotFoundError) as error:
        open_tokenizer("./nowhere")
    assert str(error.value) == "tokenizer=./nowhere: no such folder or vocabulary file"


def test_token_types_are_one_segment():
    assert torch.equal(open_tokenizer().encode("a dog").token_types, torch.zeros(4, dtype=torch.long))


def test_truncation_and_padding_of_a_tokenizers_file_are_turned_off():
    shipped = open_tokenizer()
    tokenizer = Tokenizer.from_str(shipped._tokenizer.to_str())
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=50)
    caption = "a red dog is left of a blue car ."
    assert CaptionTokenizer(tokenizer).encode(caption).input_ids.tolist() == shipped.encode(caption).input_ids.tolist()


@pytest.mark.parametrize(("words", "ids"), [(["Paris", "paris"], [5, 6]), (["paris", "P", "##P"], [5, 5])])
def test_a_vocabulary_file_is_cased_if_it_has_words_with_capitals(words, ids, tmp_path):
    file = tmp_path / "vocab.txt"
    file.write_text("\n".join([*SPECIAL_TOKENS, *words]))
    assert open_tokenizer(str(file)).encode("Paris paris").input_ids.tolist()[1:-1] == ids


def test_a_caption_of_a_hundred_thousand_words_is_counted_and_named():
    with pytest.raises(ValueError) as error:
        open_tokenizer().encode("word " * 100_000, 64, "sample s1")
    expected = "caption of sample s1 has 100000 word pieces and 2 special tokens; at most 64 fit the model"
    assert str(error.value) == expected


@pytest.mark.parametrize(
    ("caption", "message"),
    [
        ("a \ud800 dog", r"caption of sample s1 holds half a character: 'a \ud800 dog', expected Unicode text"),
        (" \x1b\x00 ", r"caption of sample s1 is empty: ' \x1b\x00 ' has no word piece"),
        ("x" * 1_000_001, "caption of sample s1 has 1,000,001 characters, expected at most 1,000,000"),
    ],
)
def test_a_caption_that_is_no_text_is_named_and_shown_without_effect(caption, message):
    with pytest.raises(ValueError) as error:
        open_tokenizer().encode(caption, 64, "sample s1")
    assert str(error.value) == message


def test_a_tokenizer_that_only_a_checkpoint_names_is_not_fetched():
    with pytest.raises(ValueError) as error:
        open_tokenizer("someone/model", is_asked=False)
    assert str(error.value).startswith("tokenizer 'someone/model' cannot be opened: ")
    assert str(error.value).endswith("; a checkpoint names it: give tokenizer=NAME to have it fetched")


def test_a_vocabulary_that_is_no_text_or_too_large_is_named(tmp_path, monkeypatch):
    path = tmp_path / "vocab.txt"
    path.write_bytes(b"[PAD]\n\xff")
    with pytest.raises(ValueError) as error:
        open_tokenizer(str(path))
    assert str(error.value) == f"tokenizer={path}: byte 7 is not UTF-8, expected a word a line"
    monkeypatch.setattr("vlp.data.tokenisation.LARGEST_VOCABULARY", 3)
    with pytest.raises(ValueError) as error:
        open_tokenizer(str(path))
    assert str(error.value) == f"tokenizer={path}: 7 bytes, expected a vocabulary of at most 3"


def test_a_digest_is_of_how_a_text_is_cut_and_not_of_the_place_it_was_opened_from(tmp_path):
    shipped = open_tokenizer()
    words = [shipped.token(index) for index in range(shipped.vocab_size)]
    digests = []
    for folder, order in (("a", words), ("b", words), ("c", [*words[:-2], words[-1], words[-2]])):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "vocab.txt").write_text("\n".join(order))
        digests.append(open_tokenizer(str(tmp_path / folder / "vocab.txt")).digest)
    assert digests[0] == digests[1] == shipped.digest
    assert digests[2] != digests[0]

"""Captions to word pieces, with the way back: which characters, which word, which span a piece belongs to.

The vocabulary that ships with the package covers both levels of scenes and NLVR with whole words, and every printable
ASCII character besides, so that ASCII text never becomes [UNK]. Real work names a folder or a hub tokenizer instead.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from importlib import resources
from pathlib import Path

import torch
from tokenizers import Encoding, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from torch import Tensor

from vlp.configs.showing import printable, shown

# Axes: T word pieces, [CLS] and [SEP] included.

PAD, UNK, CLS, SEP, MASK = SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
SHIPPED = "vocabulary.txt"
LARGEST_VOCABULARY = 64 * 1024**2
"""Bytes of a ``vocab.txt``."""

LONGEST_CAPTION = 1_000_000
"""Characters; cutting up one of this length takes seconds."""

LONGEST_WORD = 100
"""Longer words are cut before WordPiece sees them: it would answer [UNK], and in more than linear time."""


@dataclass(frozen=True)
class TokenizedCaption:
    """A caption as word pieces, ``[CLS] pieces [SEP]``.

    ``input_ids`` and ``token_types`` (T,) long; ``offsets`` (T, 2) start and end characters, (0, 0) at specials;
    ``word_ids`` (T,) the word each piece belongs to, -1 at specials; ``special`` (T,) bool.
    """

    input_ids: Tensor
    token_types: Tensor
    offsets: Tensor
    word_ids: Tensor
    special: Tensor

    def __len__(self) -> int:
        """Return the number of pieces T, specials included."""
        return len(self.input_ids)

    def pieces(self, start: int, end: int) -> Tensor:
        """Return the positions (long) of the pieces that overlap the characters ``start`` to ``end`` of the caption."""
        overlaps = (self.offsets[:, 0] < end) & (self.offsets[:, 1] > start) & ~self.special
        return overlaps.nonzero().squeeze(1)

    def cut(self, longest: int) -> TokenizedCaption:
        """Return its first pieces and [SEP], ``longest`` in all (3 or more); itself where it is no longer than that."""
        if len(self) <= longest:
            return self
        kept = [*range(longest - 1), len(self) - 1]
        return TokenizedCaption(**{field.name: getattr(self, field.name)[kept] for field in fields(self)})


class CaptionTokenizer:
    """WordPiece with [CLS] in front and [SEP] behind.

    Args:
        tokenizer: a `tokenizers.Tokenizer` that adds no special tokens of its own; its truncation and padding are
            turned off.
        source: what `open_tokenizer` was given; recorded with the weights.

    Raises:
        ValueError: if the vocabulary lacks one of the five special tokens.
    """

    def __init__(self, tokenizer: Tokenizer, source: str | None = None) -> None:
        self.source = source
        tokenizer.no_truncation()  # files of released tokenizers may carry either; both are our own affair
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        ids = {token: index for token in SPECIAL_TOKENS if (index := tokenizer.token_to_id(token)) is not None}
        if missing := [token for token in SPECIAL_TOKENS if token not in ids]:
            raise ValueError(f"tokenizer {source or SHIPPED!r} lacks {', '.join(missing)}, which a BERT vocabulary has")
        self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = (ids[token] for token in SPECIAL_TOKENS)
        self.vocab_size: int = tokenizer.get_vocab_size()

    @functools.cached_property
    def digest(self) -> str:
        """The sha256 of all that says how a text is cut, wherever it was opened from."""
        return hashlib.sha256(self._tokenizer.to_str().encode("utf-8")).hexdigest()

    @functools.cached_property
    def special_ids(self) -> frozenset[int]:
        """Ids that are no part of any text: the five special tokens and ``[unused...]``."""
        vocabulary = self._tokenizer.get_vocab()
        unused = {index for token, index in vocabulary.items() if token.startswith("[unused")}
        return frozenset({self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id} | unused)

    @functools.cached_property
    def word_ids(self) -> Tensor:
        """Ids a masked piece may be replaced by: all but the special ones."""
        return torch.tensor([index for index in range(self.vocab_size) if index not in self.special_ids])

    def encode(self, caption: str, max_pieces: int | None = None, record: str = "") -> TokenizedCaption:
        """Return the pieces of ``caption`` between [CLS] and [SEP].

        Args:
            caption: any text.
            max_pieces: the longest T allowed, specials included; None for any.
            record: names the caption in errors.

        Raises:
            ValueError: if nothing is left of the caption, or more than ``max_pieces``, or it is no text at all.
        """
        where = f"caption of {record or 'a sample'}"
        if len(caption) > LONGEST_CAPTION:
            raise ValueError(f"{where} has {len(caption):,} characters, expected at most {LONGEST_CAPTION:,}")
        try:
            encoding = self._tokenizer.encode(caption, add_special_tokens=False)
        except TypeError as error:  # what the library says of a text that is not Unicode
            raise ValueError(f"{where} holds half a character: {shown(caption)}, expected Unicode text") from error
        if not encoding.ids:
            raise ValueError(f"{where} is empty: {shown(caption)} has no word piece")
        if max_pieces is not None and len(encoding.ids) + 2 > max_pieces:
            found = f"{len(encoding.ids)} word pieces and 2 special tokens"
            raise ValueError(f"caption of {record or shown(caption)} has {found}; at most {max_pieces} fit the model")
        return self._with_specials(encoding)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ``ids``."""
        return self._tokenizer.decode(list(ids), skip_special_tokens=False)

    def token(self, index: int) -> str:
        """Return the piece with id ``index``."""
        return self._tokenizer.id_to_token(index) or UNK

    def _with_specials(self, encoding: Encoding) -> TokenizedCaption:
        input_ids = torch.tensor([self.cls_id, *encoding.ids, self.sep_id])
        special = torch.zeros(len(input_ids), dtype=torch.bool)
        special[0] = special[-1] = True
        return TokenizedCaption(
            input_ids=input_ids,
            token_types=torch.zeros_like(input_ids),
            offsets=torch.tensor([(0, 0), *encoding.offsets, (0, 0)]),
            word_ids=torch.tensor([-1, *encoding.word_ids, -1]),
            special=special,
        )


def open_tokenizer(source: str | None = None, is_asked: bool = True) -> CaptionTokenizer:
    """Return the tokenizer of ``source``: None for the shipped one, a folder or ``vocab.txt``, or a hub name.

    A ``vocab.txt`` does not say whether it is cased; it is if it has words with capitals, and case is then kept. No
    code that comes with a tokenizer is run.

    Args:
        source: which.
        is_asked: whether the user named it. What only a checkpoint names is opened from this machine or not at all.

    Raises:
        FileNotFoundError: if ``source`` looks like a path and is not there.
        ValueError: if it is no vocabulary or tokenizer, or would have to be fetched and the user did not name it.
    """
    if source is None:
        return _shipped_tokenizer()
    path = Path(source)
    if path.is_file():
        return CaptionTokenizer(_word_piece(_read_vocabulary(path)), source)
    if not path.is_dir() and (path.is_absolute() or source.startswith((".", "~"))):
        raise FileNotFoundError(f"tokenizer={source}: no such folder or vocabulary file")
    from transformers import AutoTokenizer  # slow to import, and only real work needs it

    try:
        opened = AutoTokenizer.from_pretrained(source, local_files_only=not is_asked, trust_remote_code=False)
        return CaptionTokenizer(opened.backend_tokenizer, source)
    except (OSError, ValueError, TypeError, AttributeError, LookupError) as error:
        how = "" if is_asked else "; a checkpoint names it: give tokenizer=NAME to have it fetched"
        raise ValueError(f"tokenizer {shown(source)} cannot be opened: {_first_line(error)}{how}") from error


def _read_vocabulary(path: Path) -> list[str]:
    if (size := path.stat().st_size) > LARGEST_VOCABULARY:
        raise ValueError(f"tokenizer={path}: {size:,} bytes, expected a vocabulary of at most {LARGEST_VOCABULARY:,}")
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"tokenizer={path}: byte {error.start + 1} is not UTF-8, expected a word a line") from error


def _first_line(error: Exception) -> str:
    return printable(str(error).strip().partition("\n")[0]) or type(error).__name__


def shipped_vocab_size() -> int:
    """Return the number of entries of the shipped vocabulary."""
    return _shipped_tokenizer().vocab_size


@functools.cache
def _shipped_tokenizer() -> CaptionTokenizer:
    text = resources.files("vlp.data").joinpath(SHIPPED).read_text(encoding="utf-8")
    return CaptionTokenizer(_word_piece(text.splitlines()))


def _is_cased(vocabulary: Sequence[str]) -> bool:
    """Whether a word of two or more characters has a capital; single ones are in any vocabulary that spells."""
    words = (token.removeprefix("##") for token in vocabulary if not token.startswith("["))
    return any(len(word) > 1 and word != word.lower() for word in words)


def _word_piece(vocabulary: Sequence[str]) -> Tokenizer:
    ids = {token: index for index, token in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token=UNK, max_input_chars_per_word=LONGEST_WORD))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=not _is_cased(vocabulary))
    shorten = pre_tokenizers.Split(Regex(f".{{1,{LONGEST_WORD}}}"), behavior="isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.BertPreTokenizer(), shorten])
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer

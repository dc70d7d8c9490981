from vlp.data.scenes.grammar import Predicate, Template, name_entity, realise
from vlp.data.scenes.levels import DEMO

RED_DOG, ORANGE_CAR = name_entity("red", "dog"), name_entity("orange", "car")


def arcs(sentence):
    words = [sentence.text[start:end] for start, end in zip(sentence.starts, sentence.ends, strict=True)]
    governors = ["ROOT" if head == -1 else words[head] for head in sentence.heads]
    return [(label, governor, word) for label, governor, word in zip(sentence.labels, governors, words, strict=True)]


def wording(name: str, number: int = 0):
    return next(predicate for predicate in DEMO.predicates if predicate.name == name).word_lists[number]


def test_a_sentence_and_its_parse_by_hand():
    template = Template("{0}|nsubj|1 is|VBZ|root|- {0>1}|1 .|.|punct|1")
    sentence = realise(template, {0: RED_DOG, 1: ORANGE_CAR}, {(0, 1): wording("left of", 1)})
    assert sentence.text == "a red dog is to the left of an orange car ."
    assert arcs(sentence) == [
        ("det", "dog", "a"),
        ("amod", "dog", "red"),
        ("nsubj", "is", "dog"),
        ("root", "ROOT", "is"),
        ("prep", "is", "to"),
        ("det", "left", "the"),
        ("pobj", "to", "left"),
        ("prep", "left", "of"),
        ("det", "car", "an"),
        ("amod", "car", "orange"),
        ("pobj", "of", "car"),
        ("punct", "is", "."),
    ]
    assert sentence.mentions == ((0, 0, 9), (1, 28, 41))
    assert sentence.tags == ("DT", "JJ", "NN", "VBZ", "TO", "DT", "NN", "IN", "DT", "JJ", "NN", ".")


def test_a_coordinated_relation_hangs_on_the_first():
    template = Template("{0}|nsubj|1 is|VBZ|root|- {0>1}|1 and|CC|cc|2 {0>2}|2|conj .|.|punct|1")
    namings = {0: RED_DOG, 1: ORANGE_CAR, 2: name_entity("blue", "hat")}
    sentence = realise(template, namings, {(0, 1): wording("behind"), (0, 2): wording("above")})
    assert sentence.text == "a red dog is behind an orange car and above a blue hat ."
    assert ("cc", "behind", "and") in arcs(sentence)
    assert ("conj", "behind", "above") in arcs(sentence)


def test_a_template_knows_what_it_needs():
    template = Template("{0}|root|- {0>1}|0 and|CC|cc|0 {2}|conj|0")
    assert template.constraints == ((0, 1),)
    assert template.num_entities == 3


def test_a_wording_may_be_any_chain_of_words():
    predicate = Predicate("next to", lambda a, b: True, ("next|RB|advmod|^ to|TO|prep|0",))
    template = Template("{0}|root|- {0>1}|0")
    sentence = realise(template, {0: RED_DOG, 1: ORANGE_CAR}, {(0, 1): predicate.word_lists[0]})
    assert sentence.text == "a red dog next to an orange car"
    assert sentence.heads == (2, 2, -1, 2, 3, 7, 7, 4)

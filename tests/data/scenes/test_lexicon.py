from vlp.data.scenes.grammar import Word
from vlp.data.scenes.levels import LEVELS
from vlp.data.scenes.lexicon import NOUNS, WORDS


def words_of(level):
    templates = (*level.captions, *level.region_descriptions)
    fixed = [item.text for template in templates for item in template.items if isinstance(item, Word)]
    wordings = [word.text for predicate in level.predicates for words in predicate.word_lists for word in words]
    return {"a", "an", *fixed, *wordings, *level.colours, *(noun.name for noun in level.nouns)}


def test_every_word_of_every_level_is_listed():
    for level in LEVELS.values():
        assert words_of(level) <= set(WORDS)


def test_a_level_gives_its_nouns_the_types_they_are_listed_under():
    for level in LEVELS.values():
        assert all(noun.name in NOUNS[noun.type] for noun in level.nouns)


def test_words_are_single_lower_case_and_sorted():
    assert list(WORDS) == sorted(set(WORDS))
    assert all(word == word.lower() and word.split() == [word] for word in WORDS)


def test_there_are_enough_nouns_of_all_eight_types_for_levels_to_come():
    assert set(NOUNS) == {"people", "clothing", "bodyparts", "animals", "vehicles", "instruments", "scene", "other"}
    assert min(len(nouns) for nouns in NOUNS.values()) >= 10

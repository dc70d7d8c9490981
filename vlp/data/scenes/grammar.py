"""The grammar of captions: templates and wordings that carry their own dependency parse.

Both are short strings, one item for each word or slot. ``TEXT|TAG|LABEL|HEAD`` is a word; ``{0}|LABEL|HEAD`` is the
mention of entity 0 ("a red dog"); ``{0>1}|HEAD`` or ``{0>1}|HEAD|LABEL`` is how entity 0 is related to 1, in words,
followed by the mention of 1. HEAD counts items from 0; ``-`` is the root of the sentence. In a wording, ``^`` hangs on
whatever the relation hangs on, and the object hangs on the wording's last word. Labels follow the basic Stanford
dependencies (de Marneffe and Manning, "The Stanford typed dependencies representation", 2008).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from vlp.data.scenes.geometry import Placement

ROOT = -1
OBJECT_LABEL = "pobj"


@dataclass(frozen=True)
class Word:
    """A fixed word: text, part of speech, arc label, and the item it hangs on (`ROOT`: none, or outside a wording)."""

    text: str
    tag: str
    label: str
    head: int


@dataclass(frozen=True)
class Mention:
    """A slot for entity ``entity``, named by determiner, colour and noun."""

    entity: int
    label: str
    head: int


@dataclass(frozen=True)
class Related:
    """A slot for the words that relate ``subject`` to ``object``, and the mention of the latter.

    ``label`` replaces the wording's own label of the arc to ``head``, where it is given.
    """

    subject: int
    object: int
    head: int
    label: str = ""


@dataclass(frozen=True)
class Template:
    """A sentence with slots, and how often it is chosen relative to others."""

    pattern: str
    weight: float = 1.0

    @cached_property
    def items(self) -> tuple[Word | Mention | Related, ...]:
        """The words and slots in order."""
        return tuple(_parse_item(item) for item in self.pattern.split())

    @cached_property
    def constraints(self) -> tuple[tuple[int, int], ...]:
        """The pairs (subject, object) of slots that have to be related."""
        return tuple((item.subject, item.object) for item in self.items if isinstance(item, Related))

    @cached_property
    def num_entities(self) -> int:
        """How many entities the sentence mentions."""
        mentioned = {item.entity for item in self.items if isinstance(item, Mention)}
        return len(mentioned | {entity for pair in self.constraints for entity in pair})


@dataclass(frozen=True)
class Predicate:
    """A relation: its name, when it holds, and the ways to say it."""

    name: str
    holds: Callable[[Placement, Placement], bool]
    wordings: tuple[str, ...]

    @cached_property
    def word_lists(self) -> tuple[tuple[Word, ...], ...]:
        """Each wording as words."""
        return tuple(tuple(_parse_word(item) for item in wording.split()) for wording in self.wordings)


@dataclass(frozen=True)
class Naming:
    """How an entity is named: words before the noun with their arc labels and tags, then the noun."""

    modifiers: tuple[Word, ...]
    noun: str


@dataclass(frozen=True)
class Sentence:
    """A caption with its parse, and the character span of each mention by slot, in order."""

    text: str
    starts: tuple[int, ...]
    ends: tuple[int, ...]
    heads: tuple[int, ...]
    labels: tuple[str, ...]
    tags: tuple[str, ...]
    mentions: tuple[tuple[int, int, int], ...]  # slot, start, end


def name_entity(colour: str, noun: str) -> Naming:
    """Return the naming "a COLOUR NOUN"."""
    article = "an" if colour[0] in "aeiou" else "a"
    return Naming((Word(article, "DT", "det", ROOT), Word(colour, "JJ", "amod", ROOT)), noun)


def realise(
    template: Template, namings: Mapping[int, Naming], wordings: Mapping[tuple[int, int], tuple[Word, ...]]
) -> Sentence:
    """Fill a template: ``namings`` by slot, ``wordings`` by pair of slots."""
    return _Writer(namings, wordings).write(template)


class _Writer:
    """Appends words with absolute heads; what hangs on a later item is filled in at the end."""

    def __init__(self, namings: Mapping[int, Naming], wordings: Mapping[tuple[int, int], tuple[Word, ...]]) -> None:
        self.namings, self.wordings = namings, wordings
        self.words: list[str] = []
        self.tags: list[str] = []
        self.labels: list[str] = []
        self.heads: list[int] = []
        self.spans: list[tuple[int, int, int]] = []  # slot, first and last word

    def write(self, template: Template) -> Sentence:
        tops = []  # of each item: its word that hangs outside it, and on which item
        for item in template.items:
            tops.append((self._write_item(item), item.head))
        for top, head in tops:
            self.heads[top] = ROOT if head == ROOT else tops[head][0]
        return self._sentence()

    def _write_item(self, item: Word | Mention | Related) -> int:
        if isinstance(item, Word):
            return self._add(item.text, item.tag, item.label, ROOT)
        if isinstance(item, Mention):
            return self._mention(item.entity, item.label, ROOT)
        return self._relation(item)

    def _relation(self, item: Related) -> int:
        first = top = len(self.words)
        for word in self.wordings[item.subject, item.object]:
            at = self._add(word.text, word.tag, word.label, first + word.head)
            top = at if word.head == ROOT else top
        self.labels[top] = item.label or self.labels[top]
        self._mention(item.object, OBJECT_LABEL, len(self.words) - 1)
        return top

    def _mention(self, slot: int, label: str, head: int) -> int:
        naming, first = self.namings[slot], len(self.words)
        noun = first + len(naming.modifiers)
        for word in naming.modifiers:
            self._add(word.text, word.tag, word.label, noun)
        self.spans.append((slot, first, noun))
        return self._add(naming.noun, "NN", label, head)

    def _add(self, text: str, tag: str, label: str, head: int) -> int:
        self.words.append(text)
        self.tags.append(tag)
        self.labels.append(label)
        self.heads.append(head)
        return len(self.words) - 1

    def _sentence(self) -> Sentence:
        starts, ends, at = [], [], 0
        for word in self.words:
            starts.append(at)
            ends.append(at + len(word))
            at += len(word) + 1
        mentions = tuple((slot, starts[first], ends[last]) for slot, first, last in self.spans)
        heads, labels, tags = tuple(self.heads), tuple(self.labels), tuple(self.tags)
        return Sentence(" ".join(self.words), tuple(starts), tuple(ends), heads, labels, tags, mentions)


def _parse_item(item: str) -> Word | Mention | Related:
    if not item.startswith("{"):
        return _parse_word(item)
    slot, *rest = item.removeprefix("{").split("|")
    slot = slot.removesuffix("}")
    if ">" in slot:
        subject, object_ = slot.split(">")
        return Related(int(subject), int(object_), _head(rest[0]), *rest[1:])
    return Mention(int(slot), rest[0], _head(rest[1]))


def _parse_word(item: str) -> Word:
    text, tag, label, head = item.split("|")
    return Word(text, tag, label, _head(head))


def _head(text: str) -> int:
    return ROOT if text in "-^" else int(text)

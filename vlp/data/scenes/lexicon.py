"""Every word that scenes captions use, now or in levels to come: what the frozen WordPiece vocabulary is built from.

The tables are data: a level picks from them (`vlp.data.scenes.levels`). Adding a word here later does not change the
shipped vocabulary; it is then spelt in pieces.
"""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


NOUNS: dict[str, tuple[str, ...]] = {
    "people": _words("""
        man woman boy girl child baby person lady guy dancer player worker men women boys girls children people
        couple group crowd cook farmer sailor clown king
    """),
    "clothing": _words("""
        hat shirt dress coat jacket shoe shoes boot boots scarf glove gloves skirt trousers jeans cap helmet sock
        tie belt shorts sweater crown glasses
    """),
    "bodyparts": _words("""
        hand hands head face arm arms leg legs foot feet hair eye eyes nose mouth ear beard finger knee tail wing
        paw shoulder
    """),
    "animals": _words("""
        dog cat bird horse fish cow sheep rabbit duck elephant snake turtle bear pig goat frog mouse butterfly dogs
        cats birds horses puppy owl fox bee
    """),
    "vehicles": _words("""
        car boat bus truck bicycle bike train plane airplane motorcycle ship van taxi tractor rocket wagon
        helicopter scooter canoe cars boats sled submarine balloon
    """),
    "instruments": _words("""
        drum guitar violin piano flute trumpet harp banjo cello accordion saxophone horn drums keyboard tambourine
        clarinet bell microphone ukulele triangle
    """),
    "scene": _words("""
        field beach street park mountain mountains river lake forest grass sky sand road garden hill snow water city
        ground floor wall sea bridge house room kitchen stage yard sidewalk desert island sun moon cloud night farm
    """),
    "other": _words("""
        ball tree chair table box cup book umbrella kite flag lamp clock key bottle bag basket flower flowers star
        heart apple banana cake bucket ladder sign fence bench rope bone camera phone plate spoon knife fork bed
        door window candle gift bowl pencil brush leaf rock stick toy frisbee tent barrel mushroom ring
    """),
}
"""Nouns by the eight coreference types of Flickr30k Entities."""

COLOURS = _words("""
    red green blue yellow purple black white orange pink brown grey gray cyan gold silver beige turquoise violet
    maroon navy
""")

ATTRIBUTES = _words("""
    small large big little tiny huge tall short long wide narrow round square young old new striped spotted plain
    dark light bright pale happy sad empty full open closed wooden metal wet dry dirty clean medium thin thick flat
    other same different next first second third last single whole left right middle
""")

NUMBERS = _words("""
    zero one two three four five six seven eight nine ten eleven twelve several many few some all both no none each
    every only exactly least most more less pair half another any either neither
""")

DETERMINERS = _words("""
    a an the this that these those its his her their
""")

PRONOUNS = _words("""
    it he she they them him himself herself itself themselves who which what where something someone nothing nobody
    everything you i we us our your my me hers
""")

PREPOSITIONS = _words("""
    of in on at to from with without by for above below under underneath over behind beside besides near between
    inside outside around through across along against beneath onto into off up down past toward towards beyond
    within among amid after before during about like than out upon opposite atop
""")

RELATION_WORDS = _words("""
    left right front back top bottom side next far close away edge corner center centre part touching wearing wears
    holding holds riding rides carrying carries watching watches playing plays covering covers covered overlapping
    overlaps facing faces following follows pulling pulls pushing pushes has have having hides hiding partly
    directly attached belonging using eating surrounding surrounded lower higher larger smaller bigger
""")

VERBS = _words("""
    is are was were be being been am do does did can could will would sits sit sitting stands stand standing lies
    lie lying lay runs run running walks walk walking jumps jump jumping looks look looking moves moving floats
    floating flies fly flying hangs hanging rests resting see sees seen show shows shown contains contain appears
    stays leans leaning swims swimming sleeps sleeping stretches placed parked made painted colored coloured dressed
    belongs drawn visible hidden found located positioned
""")

FUNCTION_WORDS = _words("""
    and or but not nor while as if so then there here also too very just when because though although with whose
    still together alone how why yes n't 's ' s t photo picture image scene view background foreground object
    objects thing things shape shapes color colour kind place area piece row line circle circles squares triangles
    block blocks item items tower number
""")

PUNCTUATION = (".", ",", "!", "?", ";", ":", "-", "'", '"', "(", ")")

_TABLES = (
    *NOUNS.values(),
    COLOURS,
    ATTRIBUTES,
    NUMBERS,
    DETERMINERS,
    PRONOUNS,
    PREPOSITIONS,
    RELATION_WORDS,
    VERBS,
    FUNCTION_WORDS,
    PUNCTUATION,
)

WORDS: tuple[str, ...] = tuple(sorted({word for table in _TABLES for word in table}))
"""All of them once, sorted."""

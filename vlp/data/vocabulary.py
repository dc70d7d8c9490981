"""How the shipped vocabulary was made: ``python -m vlp.data.vocabulary`` prints it.

It is frozen: ids of trained models depend on it. A word that is missing is spelt in pieces, never [UNK].
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from vlp.data.scenes.lexicon import WORDS

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
NUM_UNUSED = 59

NLVR_WORDS = """
    a above all also although among an and another any are arranged as at away back base bases be because being
    belonging below beneath beside besides between big bigger biggest black block blocks blue both bottom bottoms box
    boxes but by can center central circle circles close closely color colored colors colour coloured column consist
    consisting consists contain containing contains corner corners count cover covered different do does each edge
    edges eight either element elements equal every exact exactly except far few fewer figure figures first five four
    from full gap gray grey has have having height high higher highest if in including inside into is it item items
    its just kind large larger largest last least left less located lower lowest made many maximum medium middle
    minimum mixed more most multiple near nearly next nine no none not nothing number object objects odd of on once
    one ones only onto opposite or order other others over pair part pattern place placed position present right row
    same second see sequence set seven shape shapes shaped side sides similar single six size sized sizes small smaller
    smallest some square squares stack stacked stacks still subset such tall taller tallest than that the their them
    then there these they third this those three to together top topmost tops total touch touches touching toward
    tower towers triangle triangles two under unique up upper wall walls where which while white whole whose with
    within without yellow zero
"""
"""Words of the NLVR sentences (Suhr et al. 2017), typing errors left out."""

COMMON_WORDS = """
    about across after again against ago along already always am around ask away baby back bad ball be been before
    behind best better bring brother build call came carry child children city come could day did door down drive each
    easy eat end enough even ever face family fast father feel find fly follow food foot for friend front game gave get
    give go going good great group grow had hair half hand happy hard he head hear help her here him himself his hold
    home hot house how i idea image jump keep know lay leave let life light like line little live long look looking lot
    love man may me men might mother move much must my name need never new night now off often oh old open our out own
    paper people person photo picture piece play please pull push put rain read ready real rest ride road room round
    run running said saw say school seem shall she should show sing sit sitting sky sleep smile snow so soft someone
    something soon sound stand standing start stay stop story street strong swim table take talk tell thank thing think
    time toy tree try turn us use very view visible wait walk walking want warm was watch water way we well went were
    what wheel when who why will wind window woman women wood word work world would write year yes yet you young your
"""

SUFFIXES = "s es ed er est ing ly ful less ness able ment tion ies y ish man men let ette ward wards ' 's n't"
PRINTABLE = tuple(chr(code) for code in range(33, 127))


def build(words: Iterable[str] = WORDS) -> list[str]:
    """Return the vocabulary: specials, unused, characters and their ``##`` forms, suffixes, then words in order."""
    characters = [*PRINTABLE, *(f"##{character}" for character in PRINTABLE)]
    suffixes = [f"##{suffix}" for suffix in SUFFIXES.split()]
    known = sorted({word.lower() for word in (*words, *NLVR_WORDS.split(), *COMMON_WORDS.split())})
    unused = [f"[unused{index}]" for index in range(NUM_UNUSED)]
    return list(dict.fromkeys([*SPECIAL, *unused, *characters, *suffixes, *known]))


if __name__ == "__main__":
    sys.stdout.write("\n".join(build()) + "\n")

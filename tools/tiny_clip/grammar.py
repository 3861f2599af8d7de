"""English for the captions: articles, plurals and small numbers."""

from collections.abc import Mapping
from types import MappingProxyType

NUMBER_WORDS: Mapping[int, str] = MappingProxyType({1: "one", 2: "two", 3: "three", 4: "four"})

_UNCHANGED = frozenset(
    {"bison", "broccoli", "deer", "elk", "fish", "moose", "salmon", "sheep", "shrimp", "squid", "sushi"}
)
_IRREGULAR: Mapping[str, str] = MappingProxyType(
    {
        "bow and arrow": "bows and arrows",
        "cactus": "cacti",
        "die": "dice",
        "foot": "feet",
        "goose": "geese",
        "knife": "knives",
        "leaf": "leaves",
        "loaf": "loaves",
        "mouse": "mice",
        "ox": "oxen",
        "potato": "potatoes",
        "scarf": "scarves",
        "snowman": "snowmen",
        "tomato": "tomatoes",
        "mango": "mangoes",
        "mosquito": "mosquitoes",
        "tooth": "teeth",
        "tornado": "tornadoes",
        "volcano": "volcanoes",
        "wolf": "wolves",
    }
)
_SIBILANTS = ("s", "x", "z", "ch", "sh")
# What follows the head of a compound noun: "two pairs of jeans", "two nests with eggs".
_AFTER_HEAD = (" of ", " with ", " on a ", " in a ")
# Spelt with a vowel but spoken with a consonant, and the reverse.
_TAKES_A = ("uni", "ufo", "eu", "ewe", "one", "used")
_TAKES_AN = ("hour", "x-ray", "suv", "honest")


def article(noun: str) -> str:
    """The indefinite article that fits `noun`: "a" or "an"."""
    if noun.startswith(_TAKES_A):
        return "a"
    return "an" if noun[0] in "aeiou" or noun.startswith(_TAKES_AN) else "a"


def plural(noun: str) -> str:
    """The plural of a singular noun phrase; the head noun changes, what follows it does not."""
    if noun in _IRREGULAR:
        return _IRREGULAR[noun]
    for joint in _AFTER_HEAD:
        head, found, rest = noun.partition(joint)
        if found:
            return plural(head) + joint + rest
    stem, space, last = noun.rpartition(" ")
    return stem + space + _plural_word(last)


def _plural_word(word: str) -> str:
    if word in _UNCHANGED or word.endswith("fish"):
        return word
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    return word + ("es" if word.endswith(_SIBILANTS) else "s")

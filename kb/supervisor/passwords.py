"""Passwords that people can read aloud and type on any keyboard."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

from kb.supervisor.private_files import keep_once

DEMO_ADDRESSES = {
    "admin@retex.example": "administers",
    "auteur@retex.example": "writes, in French",
    "lecteur@retex.example": "reads, in French",
}
"""The demo's three accounts, and what each is good for."""

_WORDS_EACH = 4
"""Four of 256 words are 32 bits: years of guessing at the pace of a sign-in form."""
_WORDS = (  # noqa: SIM905 - as a list it would be 256 lines
    "acorn admiral album almond amber anchor animal apple apron arch arrow artist atlas autumn bacon badge "
    "balcony ballad bamboo banner barrel basil basket beacon berry bicycle biscuit blanket blossom board "
    "bonnet border bottle branch bread breeze brick bridge bronze brook brush bubble bucket butter button "
    "cabin cactus camel candle canoe canvas captain caramel carbon carpet castle cedar cello chalk cherry "
    "chess cider cinema circle citrus cliff cloud clover coast cobalt coffee comet compass copper coral "
    "corner cotton cradle crater cricket crystal curtain cushion daisy dancer delta desert diamond dinner "
    "dolphin domino donkey dragon dream drum eagle earth easel echo elbow ember engine falcon feather "
    "fern fiddle field finch flame flint flower flute forest fossil fountain fox galaxy garden garlic "
    "gazelle ginger glacier globe granite grape gravel guitar hammer harbour harvest hazel helmet heron "
    "hill honey horizon igloo indigo island ivory jacket jasmine jelly jersey jungle kettle kitchen kitten "
    "ladder lagoon lantern laurel lava leaf lemon lentil library lichen lily linen lion lobster lotus "
    "lunar maple marble market meadow melon mint mirror mitten mosaic motor mountain muffin museum mustard "
    "napkin nectar needle nettle nickel nutmeg oasis ocean olive onion orange orbit orchid otter oyster "
    "paddle palace panda paper parade parrot pastel peach pebble pelican pencil pepper piano picnic pilot "
    "pine planet plum pocket poem polar pond poplar poppy potato prairie prism puppet puzzle quartz quiet "
    "rabbit radio rain raven ribbon river robin rocket rose ruby saddle saffron sailor salad salmon sandal "
    "satin scarf shell silver sparrow spoon spring squirrel star stone sugar summer sunset swan table tiger"
).split()


def make_password() -> str:
    """Four random words, in small letters, joined by hyphens."""
    return "-".join(secrets.choice(_WORDS) for _ in range(_WORDS_EACH))


def demo_passwords_path(data: Path) -> Path:
    """Where the passwords of the demo's accounts are kept."""
    return data / "demo-passwords.json"


def demo_passwords(data: Path) -> dict[str, str]:
    """Address to password of the demo's three accounts, made up on first use.

    Raises ValueError naming the file when somebody has damaged it.
    """
    path = demo_passwords_path(data)
    text = keep_once(
        path,
        lambda: json.dumps({name: make_password() for name in DEMO_ADDRESSES}, indent=2) + "\n",
    )
    try:
        kept = json.loads(text)
        return {address: str(kept[address]) for address in DEMO_ADDRESSES}
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{path} does not hold the passwords of {', '.join(DEMO_ADDRESSES)}. Put it back as it was, "
            "or remove it and set new passwords in the administration."
        ) from error

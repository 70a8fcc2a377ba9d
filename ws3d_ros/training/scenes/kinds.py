"""Kinds of rooms: how wide they are, of what, and what people put into them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Wish:
    """So many things of these words, placed by a rule of :class:`Furnisher`."""

    words: str
    rule: str
    count: tuple[int, int] = (0, 1)
    with_: tuple[Wish, ...] = ()


@dataclass(frozen=True)
class Kind:
    """A kind of room: how wide, of what, and with what in it. The order is the order of placing."""

    width_m: tuple[float, float]
    walls: tuple[str, ...]
    floors: tuple[str, ...]
    wishes: tuple[Wish, ...]
    fitted: tuple[int, int] = (0, 0)
    """So many rows of kitchen cabinets."""


_TABLEWARE = Wish("cup, bowl, bottle, vase, plant, book, microwave, toy, lamp", "on", (0, 3))
_COVER = Wish("pillow", "on", (0, 3))
_ON_DESK = (Wish("computer", "on", (1, 1)), Wish("lamp, book, cup, plant, speaker", "on", (0, 2)))
_ON_SHELF = Wish("vase, plant, clock, box, speaker, toy, book, ball", "on", (0, 2))
_ANY = (
    Wish("radiator", "mount", (0, 1)),
    Wish("picture", "mount", (0, 3)),
    Wish("clock, mirror", "mount", (0, 1)),
    Wish("ceiling lamp, ceiling lamp, fan", "hang", (0, 2)),
    Wish("plant", "corner", (0, 2)),
    Wish("lamp", "corner", (0, 1)),
    Wish("box, bag, ball, toy, trash can, fan, speaker, person", "anywhere", (0, 3)),
)

_FEW = Wish(
    "vase, plant, book, cup, bowl, bottle, lamp, toy, box, candle, coffee machine, toaster", "on", (0, 1)
)
_CUSHIONS = Wish("pillow", "rest", (0, 2))
_SPARSE = (
    Wish("radiator", "mount", (0, 1)),
    Wish("picture", "mount", (0, 2)),
    Wish("clock, mirror, wall lamp, air conditioner", "mount", (0, 1)),
    Wish("ceiling lamp, ceiling lamp, ceiling lamp, fan", "hang", (0, 1)),
    Wish("plant", "corner", (0, 1)),
    Wish("lamp", "corner", (0, 1)),
    Wish("person, pet, fan, speaker, trash can", "anywhere", (0, 1)),
)

USUAL = ("bathroom", "bedroom", "kitchen", "living room", "office")
"""The kinds of which ``make_scene`` chooses."""

KINDS: dict[str, Kind] = {
    "living room": Kind(
        (3.8, 5.8),
        ("plaster", "plaster", "paper"),
        ("planks", "planks", "tiles", "carpet"),
        (
            Wish("sofa", "wall", (1, 2), (_COVER, Wish("coffee table", "before", (0, 1), (_TABLEWARE,)))),
            Wish("tv stand", "wall", (0, 1), (Wish("television", "on", (1, 1)), _ON_SHELF)),
            Wish("table", "middle", (0, 1), (Wish("chair", "around", (2, 6)), _TABLEWARE)),
            Wish("bookcase, cabinet, chest of drawers, fireplace, piano", "wall", (0, 2), (_ON_SHELF,)),
            Wish("armchair", "corner", (0, 2), (_COVER,)),
            Wish("rug", "lie", (0, 1)),
            Wish("television", "mount", (0, 1)),
            *_ANY,
        ),
    ),
    "bedroom": Kind(
        (3.2, 4.8),
        ("plaster", "plaster", "paper"),
        ("planks", "planks", "carpet"),
        (
            Wish(
                "bed",
                "wall",
                (1, 2),
                (
                    Wish("nightstand", "beside", (0, 2), (Wish("lamp, clock, book, cup", "on", (0, 1)),)),
                    Wish("pillow", "on", (0, 2)),
                ),
            ),
            Wish("wardrobe", "wall", (0, 1)),
            Wish("chest of drawers, desk, bookcase, cabinet", "wall", (0, 2), (_ON_SHELF,)),
            Wish("chair, armchair, stool", "corner", (0, 1)),
            Wish("rug", "lie", (0, 1)),
            *_ANY,
        ),
    ),
    "kitchen": Kind(
        (3.0, 4.6),
        ("plaster", "tiles"),
        ("tiles", "tiles", "planks"),
        (
            Wish("refrigerator", "wall", (1, 1)),
            Wish("stove", "wall", (1, 1)),
            Wish("sink", "wall", (1, 1)),
            Wish("cabinet", "wall", (2, 4), (_TABLEWARE,)),
            Wish("washing machine", "wall", (0, 1)),
            Wish("cabinet", "mount", (0, 3)),
            Wish("range hood", "mount", (0, 1)),
            Wish("table", "middle", (0, 1), (Wish("chair, stool", "around", (2, 4)), _TABLEWARE)),
            Wish("rug", "lie", (0, 1)),
            *_ANY,
        ),
    ),
    "bathroom": Kind(
        (2.6, 3.6),
        ("tiles", "tiles", "plaster"),
        ("tiles",),
        (
            Wish("bathtub, shower", "wall", (1, 2)),
            Wish("toilet", "wall", (1, 2)),
            Wish("sink", "wall", (1, 2)),
            Wish("mirror", "mount", (1, 2)),
            Wish("washing machine, cabinet", "wall", (0, 1), (Wish("bottle", "on", (0, 3)),)),
            Wish("rug", "lie", (0, 1)),
            *_ANY,
        ),
    ),
    "office": Kind(
        (3.0, 5.0),
        ("plaster",),
        ("planks", "tiles", "carpet"),
        (
            Wish("desk", "wall", (1, 3), (Wish("chair", "before", (1, 1)), *_ON_DESK)),
            Wish("bookcase, cabinet", "wall", (1, 3), (_ON_SHELF,)),
            Wish(
                "table, exercise machine, piano",
                "middle",
                (0, 1),
                (Wish("chair", "around", (2, 5)), _TABLEWARE),
            ),
            Wish("sofa, armchair", "wall", (0, 1), (_COVER,)),
            *_ANY,
        ),
    ),
    "lounge": Kind(
        (3.6, 6.5),
        ("plaster", "plaster", "paper"),
        ("planks", "planks", "tiles", "carpet"),
        (
            Wish("rug", "under", (0, 1)),
            Wish("sofa", "wall", (1, 2), (_CUSHIONS, Wish("coffee table", "before", (0, 1), (_FEW,)))),
            Wish("sofa", "middle", (0, 1), (_CUSHIONS,)),
            Wish("tv stand", "wall", (0, 1), (Wish("television", "on", (1, 1)),)),
            Wish("armchair", "corner", (0, 2), (_CUSHIONS,)),
            Wish("bookcase, cabinet, chest of drawers, fireplace, piano, aquarium", "wall", (0, 2), (_FEW,)),
            Wish("shelf", "mount", (0, 1)),
            Wish("lamp, plant, guitar", "corner", (0, 2)),
            *_SPARSE,
        ),
    ),
    "sleeping room": Kind(
        (2.8, 5.0),
        ("plaster", "plaster", "paper"),
        ("planks", "carpet", "tiles"),
        (
            Wish("rug", "under", (0, 1)),
            Wish(
                "bed",
                "wall",
                (1, 2),
                (
                    Wish("pillow", "rest", (0, 2)),
                    Wish("nightstand", "beside", (0, 2), (Wish("lamp, clock, book", "on", (0, 1)),)),
                ),
            ),
            Wish("wardrobe", "wall", (0, 2)),
            Wish("chest of drawers, desk, bookcase, bench, tv stand", "wall", (0, 2), (_FEW,)),
            Wish("armchair, chair, basket, clothes rack, exercise machine", "corner", (0, 1)),
            Wish("shoes, bag, box", "anywhere", (0, 1)),
            *_SPARSE,
        ),
    ),
    "dining room": Kind(
        (2.8, 5.0),
        ("plaster", "paper"),
        ("planks", "tiles", "carpet"),
        (
            Wish("rug", "under", (0, 1)),
            Wish("table", "middle", (1, 1), (Wish("chair", "around", (3, 8)), _FEW)),
            Wish("cabinet, chest of drawers, bench, piano", "wall", (0, 2), (_FEW,)),
            *_SPARSE,
        ),
    ),
    "fitted kitchen": Kind(
        (2.4, 4.8),
        ("plaster", "tiles"),
        ("tiles", "tiles", "planks"),
        (
            Wish("refrigerator", "wall", (0, 1)),
            Wish("kitchen counter", "middle", (0, 1), (_FEW,)),
            Wish("table", "middle", (0, 1), (Wish("chair, stool", "around", (2, 4)), _FEW)),
            Wish("trash can, washing machine, cabinet", "wall", (0, 1)),
            *_SPARSE,
        ),
        fitted=(1, 2),
    ),
    "bath": Kind(
        (1.8, 3.4),
        ("tiles", "tiles", "plaster"),
        ("tiles", "tiles", "planks"),
        (
            Wish("bathtub, bathtub, shower", "wall", (1, 1)),
            Wish("toilet", "wall", (1, 1)),
            Wish("sink", "wall", (1, 1)),
            Wish("mirror", "mount", (0, 1)),
            Wish("towel", "mount", (0, 2)),
            Wish("rug", "under", (0, 1)),
            Wish("washing machine, basket, cabinet, trash can", "wall", (0, 2)),
            *_SPARSE,
        ),
    ),
    "study": Kind(
        (2.6, 6.5),
        ("plaster",),
        ("carpet", "carpet", "planks", "tiles"),
        (
            Wish(
                "desk",
                "wall",
                (1, 4),
                (
                    Wish("chair", "before", (1, 1)),
                    Wish("computer", "on", (0, 1)),
                    Wish("keyboard, telephone, printer, lamp, book, cup", "on", (0, 2)),
                ),
            ),
            Wish("desk, table", "middle", (0, 2), (Wish("chair", "around", (1, 5)), _FEW)),
            Wish("bookcase, cabinet, whiteboard, safe, printer", "wall", (0, 3), (_FEW,)),
            Wish("shelf", "mount", (0, 1)),
            Wish("trash can, bag, box", "anywhere", (0, 2)),
            *_SPARSE,
        ),
    ),
    "hallway": Kind(
        (1.2, 2.2),
        ("plaster", "plaster", "paper"),
        ("planks", "tiles", "carpet"),
        (
            Wish("rug", "under", (0, 1)),
            Wish("clothes rack, chest of drawers, bench, cabinet, bicycle", "wall", (0, 2), (_FEW,)),
            Wish("mirror", "mount", (0, 1)),
            Wish("stairs", "wall", (0, 1)),
            Wish("shoes, bag, box, ladder", "anywhere", (0, 2)),
            *_SPARSE,
        ),
    ),
    "store room": Kind(
        (1.8, 4.0),
        ("plaster",),
        ("tiles", "planks"),
        (
            Wish("bookcase, shelf, cabinet, washing machine, refrigerator", "wall", (1, 4), (_FEW,)),
            Wish("boiler, bicycle, ladder, clothes rack, basket", "wall", (0, 2)),
            Wish("box, box, bag, shoes, toy, ball, basket", "anywhere", (1, 5)),
            *_SPARSE,
        ),
    ),
}

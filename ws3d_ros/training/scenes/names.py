"""What things are called: one plain name for each thing of a scene, other words for it, and its kind.

Catalogue names are merged into names that people use ("Sofa 2 seats" is a sofa), and split where
people tell apart what ``classes.py`` calls by one word (a kitchen cabinet is not a filing cabinet).
"""

from __future__ import annotations

from typing import NamedTuple

from ws3d_ros.training.scenes.scene import Thing


class Meaning(NamedTuple):
    """What a name stands for."""

    category: str
    synonyms: tuple[str, ...] = ()


def _table(text: str) -> dict[str, Meaning]:
    """Lines "name: category: synonym, synonym"."""
    rows = [[part.strip() for part in line.split(":")] for line in text.strip().splitlines()]
    return {
        name: Meaning(category, tuple(word.strip() for word in words.split(",") if word.strip()))
        for name, category, words in rows
    }


MEANINGS: dict[str, Meaning] = _table(
    """
    wall: structure: walls, room wall
    floor: structure: ground, flooring, wooden floor, tiled floor
    ceiling: structure: roof, room ceiling
    door: opening: doorway, room door, door leaf
    window: opening: window pane, window frame, glass window
    bed: furniture: double bed, single bed, bed frame, mattress
    sofa: seat: couch, settee, loveseat
    armchair: seat: easy chair, lounge chair, sofa chair
    chair: seat: dining chair, kitchen chair, seat
    stool: seat: bar stool, footstool, ottoman
    bench: seat: sitting bench, wooden bench
    table: table: dining table, kitchen table, dinner table
    coffee table: table: low table, side table, end table
    desk: table: writing desk, office desk, work table
    nightstand: storage furniture: bedside table, night table
    cabinet: storage furniture: cupboard, storage cabinet, sideboard
    kitchen cabinet: storage furniture: kitchen cupboard, kitchen unit, wall cabinet, base cabinet
    filing cabinet: storage furniture: file cabinet, drawer cabinet
    kitchen counter: kitchen furniture: counter, countertop, worktop, kitchen island
    wardrobe: storage furniture: closet, armoire, clothes cupboard
    chest of drawers: storage furniture: dresser, drawers, commode
    bookcase: storage furniture: bookshelf, book rack
    shelf: storage furniture: shelves, shelving, wall shelf, shelving unit
    tv stand: storage furniture: television stand, media console, tv cabinet
    refrigerator: appliance: fridge, freezer, fridge freezer
    stove: appliance: cooker, kitchen range, hob, cooktop
    oven: appliance: baking oven, built-in oven
    range hood: appliance: extractor hood, cooker hood, kitchen hood
    dishwasher: appliance: dish washer, dishwashing machine
    washing machine: appliance: washer, clothes dryer, laundry machine
    microwave: appliance: microwave oven
    coffee machine: kitchen appliance: coffee maker, espresso machine
    toaster: kitchen appliance: bread toaster
    kettle: kitchen appliance: water kettle, teapot
    sink: bathroom fixture: washbasin, basin, wash basin, kitchen sink
    toilet: bathroom fixture: lavatory, toilet bowl
    bidet: bathroom fixture: bidet bowl
    bathtub: bathroom fixture: bath, tub
    shower: bathroom fixture: shower cabin, shower stall
    shower curtain: textile: bath curtain
    towel: textile: bath towel, hand towel
    television: electronics: tv, tv screen, flat screen
    computer: electronics: laptop, notebook computer, personal computer
    keyboard: electronics: computer keyboard
    printer: electronics: copier, scanner, inkjet printer
    speaker: electronics: loudspeaker, stereo, audio speaker
    telephone: electronics: phone
    radiator: heating: heater, heating radiator
    air conditioner: heating: air conditioning unit
    boiler: heating: water heater
    fireplace: heating: chimney fireplace, hearth
    lamp: lamp: table lamp, desk lamp, light
    floor lamp: lamp: standing lamp
    ceiling lamp: lamp: hanging lamp, pendant lamp, chandelier, ceiling light
    wall lamp: lamp: sconce, wall light
    plant: plant: potted plant, houseplant, indoor plant
    vase: decoration: flower vase, jar, pot
    picture: decoration: painting, poster, picture frame, photograph
    mirror: decoration: wall mirror, looking glass
    clock: decoration: wall clock, alarm clock
    candle: decoration: candlestick, candle holder
    rug: textile: carpet, mat, floor mat
    curtain: textile: curtains, drapes, drapery
    blinds: window covering: window blind, roller blind, shutters, window shade
    pillow: bedding: cushion, throw pillow
    fan: appliance: ventilator, electric fan
    trash can: container: dustbin, waste bin, garbage bin, wastebasket
    box: container: cardboard box, carton, crate
    basket: container: laundry basket, hamper
    bag: container: backpack, handbag, suitcase, luggage
    book: small object: books, magazine, newspaper
    bottle: small object: wine bottle, flask
    cup: tableware: mug, drinking glass, coffee cup
    bowl: tableware: dish, fruit bowl
    plate: tableware: dinner plate
    pan: tableware: cooking pot, saucepan
    food: food: fruit, bread, meal
    ball: toy: football, basketball
    toy: toy: stuffed animal, teddy bear, doll
    piano: musical instrument: grand piano, upright piano
    guitar: musical instrument: electric guitar
    exercise machine: sports equipment: exercise bike, treadmill, fitness equipment
    bicycle: vehicle: bike
    person: person: human, man, woman, child
    pet: animal: dog, cat
    whiteboard: board: white board, blackboard
    clothes rack: storage furniture: coat rack, clothes hanger
    shoes: textile: shoe, sneakers, slippers
    ladder: tool: step ladder, stepladder
    stairs: structure: staircase, stairway, steps
    safe: container: strongbox
    aquarium: container: fish tank
    """
)
"""Of every name: its kind and other words for it."""

NAMES: tuple[str, ...] = tuple(MEANINGS)
"""All names; labels of examples index it."""

SYNONYMS: dict[str, tuple[str, ...]] = {name: meaning.synonyms for name, meaning in MEANINGS.items()}
CATEGORY: dict[str, str] = {name: meaning.category for name, meaning in MEANINGS.items()}

_FINER = {  # catalogue names that have a name of their own within their word of ``classes.py``
    catalogue: name
    for name, names in {
        "kitchen cabinet": "Upper cabinet, Small upper cabinet, Lower cabinet, Small lower cabinet, "
        "Upper shelves cabinet, Lower corner cabinet, Upper corner cabinet, Sink cabinet",
        "filing cabinet": "Filing cabinet, Drawers cabinet",
        "shelf": "Shelves, Vertical shelves",
        "oven": "Oven, Double oven, Small oven",
        "bidet": "Bidet",
        "kettle": "Teapot",
        "bench": "Piano bench",
    }.items()
    for catalogue in (part.strip() for part in names.split(","))
}
_FLOOR_LAMP_M = 1.0


def name_of(thing: Thing) -> str:
    """The name of a thing, one of ``NAMES``."""
    if thing.model is None:
        return thing.word
    if thing.word == "lamp" and thing.model.size_m[2] > _FLOOR_LAMP_M:
        return "floor lamp"
    return _FINER.get(thing.model.name, thing.word)

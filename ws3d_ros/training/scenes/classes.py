"""The plain words that rooms are labelled with, and which catalogue names each of them covers."""

from __future__ import annotations

STRUCTURE = ("wall", "floor", "ceiling", "door", "window")
"""What a room is made of; the rest stands, lies or hangs in it."""

_FURNITURE: dict[str, str] = {
    "bed": "Bed, Air mattress, Baby bed, Bunk bed, Captain's bed, Child bed, Crib, Day bed, Hospital bed, "
    "Iron bed, Mezzanine bed, Futon",
    "sofa": "Sofa, Sofa 2 seats, Sofa 3 seats, Burlap sofa, Clear sofa, Corner sofa, Couch, Futon couch, "
    "Winchester sofa, Convertible sofa BZ, Rattan sofa",
    "armchair": "Armchair, Armchair ottoman, Modern armchair, Winchester armchair, Rattan armchair",
    "chair": "Chair, Chair with cushion, Child chair, Children chair, Oak chair, Osaka chair, Plastic chair, "
    "Folding chair, Ryokan chair, Cafe chair, Class seat, Bar chair, Teck chair, Baby high chair",
    "stool": "Stool, Bar stool, Puff, Piano bench",
    "table": "Table, Black table, Glass table, Oak table, Round table, Table on trestles, Bar table, "
    "Table with tablecloth, Folding table, Wooden table, Wooden teak table, Wooden alder table, "
    "Rattan table, Children table",
    "coffee table": "Coffee table",
    "desk": "Desk, Desk table, Technical table, Wooden desk, Dressing table",
    "nightstand": "Bedside table",
    "cabinet": "Glass door cabinet, High cabinet, Lower cabinet, Small lower cabinet, Upper cabinet, "
    "Small upper cabinet, Drawers cabinet, Filing cabinet, Cupboard, Sink cabinet, Upper shelves cabinet, "
    "Lower corner cabinet, Upper corner cabinet",
    "wardrobe": "Wardrobe",
    "chest of drawers": "Dresser with drawers, Chest, Changing table",
    "bookcase": "Bookcase, Full bookcase, Shelves, Vertical shelves",
    "tv stand": "TV stand, Television cabinet",
    "refrigerator": "Fridge, Large fridge, Refrigerator, Chest freezer",
    "stove": "Cooker, Stove, Large stove, Oven, Double oven, Small oven",
    "range hood": "Hood, Range hood",
    "washing machine": "Washing machine, Clothes washing machine, Dryer machine",
    "sink": "Sink, Washbasin, Vanity, Double vanity, Small lavatory",
    "toilet": "Toilets unit, Bidet",
    "bathtub": "Bath, Corner bathtub, Island bath",
    "shower": "Shower stall, Shower door",
    "television": "TV, TV 16:9, Wall flat TV",
    "computer": "Apple iBook, Apple iMac 1998, Apple iMac 2004, Laptop",
    "microwave": "Microwave",
    "radiator": "Radiator",
    "lamp": "Lamp, Little lamp, Desk lamp, Ceiling lamp, Chandelier lamp, Hanging light, Pendant lamp, "
    "Pedestal vase lamp, Fluorescent light, Fluorescent strip, Japanese lantern",
    "plant": "Bamboo, Bonsai tree, Cactus, Decorative plant, Ficus, Flowers, Indoor plant, Little plant, "
    "Orchids, Plant, Spathiphyllum, Spider plant, Succulent plant, Tulips, White lily, Yucca, Christmas tree",
    "vase": "Vase, Pottery, Old jar",
    "rug": "Oriental rug, Round carpet, Bathmat, Doormat",
    "curtain": "Curtain",
    "picture": "Frame Chambord, Frame Hôi An",
    "fan": "Ceiling fan, Rigged fan, Table fan",
    "trash can": "Dustbin, Bullet trash can, Recycling bin",
    "box": "Box, Cardboard box, Open cardboard box, Crate",
    "bag": "Backpack, Handbag, Suitcase, Briefcase",
    "book": "Book, Newspaper",
    "bottle": "Beer bottle, Wine bottle, Yogurt bottle, Bottle",
    "cup": "Coffee cup, Coffee mug, Cup, Glass, Beer glass, Teapot",
    "bowl": "Bowl, Bowl with fruits, Bowl with salad",
    "ball": "Basketball, Soccer ball",
    "toy": "Teddy bear, Rocking horse, Toy train, Doll house, Car model, Wood toy",
    "clock": "Clock, Cuckoo clock",
    "piano": "Grand piano, Upright piano",
    "fireplace": "Fireplace",
    "exercise machine": "Abdominal bench, Indoor bike, Treadmill, Fitness tower",
    "person": "Female, Male, Boy, Girl, Sitting female, Sitting male, Sitting girl",
    "speaker": "Speaker, Mini stereo",
}

_FURTHER: dict[str, str] = {  # words that the segmenter's pictures leave unnamed
    "bicycle": "Bicycle, Bike",
    "keyboard": "Keyboard",
    "printer": "Inkjet printer and scanner",
    "telephone": "Phone, Wireless phone",
    "toaster": "Toaster",
    "coffee machine": "Coffee machine, Coffee maker, Coffee brewer",
    "kettle": "Espresso kettle",
    "towel": "Towel rack",
    "wall lamp": "Wall light, Wall lamp artwork, Wall spotlight",
    "candle": "Candle",
    "basket": "Clothes basket, Shopping basket",
    "shoes": "Sneakers, Slippers, Woman shoes",
    "clothes rack": "Clothes rack, Hanging clothes, Clothes horse",
    "plate": "Plate",
    "pan": "Large pan",
    "food": "Bread, Apples",
    "pet": "Dog, Cat, Siamese cat",
    "whiteboard": "White board, Screen",
    "ladder": "Step ladder, Small step ladder",
    "bench": "Bench",
    "guitar": "Electric guitar",
    "safe": "Safe",
    "aquarium": "Aquarium",
    "kitchen counter": "Island, Island extension",
    "air conditioner": "Air conditioning - Internal unit",
    "boiler": "Boiler, Electric water heater, Gaz water heater",
    "shower curtain": "Shower curtain",
}

CLASSES: tuple[str, ...] = (*STRUCTURE, *_FURNITURE, "ceiling lamp", "mirror", "pillow")
"""All words, in the order of the segmenter's outputs. Ceiling lamps are lamps that hang;
mirrors and pillows are made, not loaded (``made.py``)."""

_CLASS_OF_NAME = {
    name: word
    for word, names in (_FURNITURE | _FURTHER).items()
    for name in (part.strip() for part in names.split(","))
} | {
    "Door": "door",
    "Exterior door": "door",
    "Sliding window": "window",
    "Double-hung window": "window",
    "Double window 3 panes": "window",
    "Double window 4 panes": "window",
    "Double window with large pane": "window",
    "Turn window": "window",
}


MADE: tuple[str, ...] = ("wall", "floor", "ceiling", "mirror", "pillow")
"""Words without models."""

WORDS: tuple[str, ...] = (*CLASSES, *_FURTHER)
"""All words that models have."""


def class_of(catalogue_name: str) -> str | None:
    """The plain word for a catalogue's name, or None for what does not belong in a room here."""
    return _CLASS_OF_NAME.get(catalogue_name)

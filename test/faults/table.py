"""The table of faults: what each is called, how it is made, what diagnostics must call it."""

from __future__ import annotations

import resource
from functools import partial

from events import (
    NO_PLACE,
    NO_TURN,
    NOWHERE,
    asked,
    broken,
    deactivated,
    flip_a_byte,
    frozen,
    huge_header,
    instance,
    killed,
    little_memory,
    load,
    load_bytes,
    load_outside,
    load_weights,
    many,
    no_more_files,
    parameter,
    pickled,
    question,
    save,
    save_with_limit,
    save_without_folder,
    small_files,
    words,
)
from spoil import noise, relayed, together
from table_of_messages import DEPTH, MESSAGES, NAN, Fault

SERVICES = [
    Fault(
        "save to a folder above",
        asked(partial(save, name="../room")),
        ("save_map False", "is no name for a map"),
    ),
    Fault(
        "save to an absolute path",
        asked(partial(save, name="/etc/room")),
        ("save_map False", "is no name for a map"),
        again=True,
    ),
    Fault(
        "save under a name of 5000 letters",
        asked(partial(save, name="a" * 5000)),
        ("save_map False",),
        again=True,
    ),
    Fault(
        "save where a file is in the way",
        asked(save_without_folder),
        ("save_map False", "cannot be written"),
        again=True,
    ),
    Fault(
        "save on a full disk",
        save_with_limit(resource.RLIMIT_FSIZE, small_files),
        ("save_map False", "is there room"),
    ),
    Fault(
        "save without file handles left",
        save_with_limit(resource.RLIMIT_NOFILE, no_more_files),
        ("save_map False", "Too many open files"),
    ),
    Fault(
        "load what is not there",
        asked(partial(load, name="nowhere")),
        ("load_map False", "cannot be read"),
        again=True,
    ),
    Fault(
        "load a map that is cut off",
        load_bytes(lambda data: data[: len(data) // 2]),
        ("load_map False", "cut off"),
    ),
    Fault("load an empty file", load_bytes(lambda data: b""), ("load_map False", "is no map"), again=True),
    Fault("load a map with a wrong bit", load_bytes(flip_a_byte), ("load_map False", "checksum")),
    Fault("load a file that asks for 2**62 bytes", load_bytes(huge_header), ("load_map False", "is no map")),
    Fault("load a pickle", load_bytes(pickled), ("load_map False", "is no map"), again=True),
    Fault("load weights as a map", asked(load_weights), ("load_map False", "is no map"), again=True),
    Fault("load through a link out of the folder", asked(load_outside), ("load_map False", "symbolic link")),
    Fault(
        "load to a place that is NaN",
        asked(partial(load, name="room", transform=NOWHERE)),
        ("load_map False",),
    ),
    Fault(
        "load with a rotation of zeros",
        asked(partial(load, name="room", transform=NO_TURN)),
        ("load_map False", "length 1"),
        again=True,
    ),
    Fault("no words", asked(partial(words, entries=[])), ("set_vocabulary False", "no words")),
    Fault(
        "blank words",
        asked(partial(words, entries=["", "  "])),
        ("set_vocabulary False", "no words"),
        again=True,
    ),
    Fault(
        "a hundred thousand words",
        asked(partial(words, entries=[f"word{i}" for i in range(100_000)])),
        ("set_vocabulary False", "at most"),
        again=True,
    ),
    Fault(
        "the same word twice",
        asked(partial(words, entries=["mug", "Mug"])),
        ("set_vocabulary False", "already"),
        again=True,
    ),
    Fault(
        "words from a file outside the folder",
        asked(partial(words, entries=["/etc/words.yaml"])),
        ("set_vocabulary False", "vocabulary"),
        again=True,
    ),
    Fault(
        "a word of a million letters",
        asked(partial(words, entries=["a" * 1_000_000, "b"])),
        ("set_vocabulary False", "at most"),
    ),
    Fault("an empty question", asked(partial(question, text="")), ("query False",), again=True),
    Fault(
        "a question of a million letters",
        asked(partial(question, text="red mug " * 125_000)),
        ("query False", "at most"),
    ),
    Fault(
        "a question from nowhere",
        asked(partial(question, text="the mug left of the bed", viewer=NO_PLACE)),
        ("query",),
        again=True,
    ),
    Fault(
        "an object that is not there",
        asked(partial(instance, number=2**32 - 1)),
        ("get_instance False", "no object"),
    ),
    Fault(
        "a setting that is NaN",
        asked(partial(parameter, name="map.min_weight", value=NAN)),
        ("set_parameters False",),
    ),
    Fault(
        "a setting out of its range",
        asked(partial(parameter, name="output.cloud_rate_hz", value=-1.0)),
        ("set_parameters False",),
        again=True,
    ),
    Fault("twenty saves", many(partial(save, name="often"), 20), ("save_map True",), again=True),
]
NEWS = relayed(noise(DEPTH))
"""Something new to name: the network reads what changes."""
NODE = [
    Fault("mapping raises", broken("mapping", "runtime"), ("mapping survived an error",)),
    Fault(
        "mapping has no memory",
        broken("mapping", "memory"),
        ("mapping survived an error", "MemoryError"),
        again=True,
    ),
    Fault(
        "messages cannot be made",
        broken("output", "runtime"),
        ("output survived an error",),
        again=True,
        mapped=True,
    ),
    Fault("the doctor raises", broken("doctor", "runtime"), ("doctor survived an error",), mapped=True),
    Fault("a callback raises", broken("executor", "runtime"), ("executor survived an error",)),
    Fault(
        "names raise",
        together(broken("names", "runtime"), NEWS),
        ("names survived an error",),
        mapped=True,
    ),
    Fault(
        "new words raise",
        together(broken("words", "runtime"), asked(partial(words, entries=["mug"]))),
        ("set_vocabulary False",),
    ),
    Fault(
        "the network has no GPU memory",
        together(broken("network", "cuda"), NEWS),
        ("the 3D network failed", "OutOfMemoryError"),
        mapped=True,
    ),
    Fault(
        "the process takes more memory than it may",
        little_memory,
        ("memory and may take 1", "names do with less"),
        mapped=True,
    ),
    Fault("mapping hangs", broken("mapping", "hang"), ("overload",)),
    Fault(
        "naming hangs",
        together(broken("names", "hang"), NEWS),
        ("names has been at one piece of work",),
        mapped=True,
    ),
    Fault("the node is deactivated", deactivated, ("ws3d: pipeline: state inactive",)),
    Fault("the process stands still for 3 s", frozen, ("paused for",)),
    Fault("the process is killed and started again", killed, ("load_map True",)),
]
FAULTS = [*MESSAGES, *SERVICES, *NODE]

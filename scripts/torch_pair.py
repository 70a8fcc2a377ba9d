"""Prints pip constraints that keep torch and torchvision a pair.

A torch that is already there (a CUDA build, a Jetson wheel) is pinned to what it is, with the
torchvision made for it; otherwise the pair in constraints.txt. Use it so:

    python3 scripts/torch_pair.py > /tmp/constraints.txt
    python3 -m pip install -c /tmp/constraints.txt '.[vlm]'


"""ws3d_ros: open-vocabulary 3D semantic mapping for robots (after WS3D++, arXiv 2312.00663)."""

from pkgutil import extend_path

# msg/ and srv/ are generated into the installed copy of this package. This line lets a
# source tree that comes earlier on sys.path (pytest, a checkout) still find them.
__path__ = extend_path(__path__, __name__)
__version__ = "0.1.0"

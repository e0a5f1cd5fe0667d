"""Windows to features.

A `MapSet` of star-centered windows enters; feature vectors (N, D) and patch features (N, rows, columns, D) leave. Open
`embedding.py` first: `Embedder` joins the scaler, the frozen encoder (`frozen_encoder.py`) and the readout
(`features.py`, with `zoom_views.py` and `radial_profiles.py`).
"""

from stellarfm.inference.encoding.embedding import Embedder
from stellarfm.inference.encoding.features import Readout
from stellarfm.inference.encoding.frozen_encoder import FrozenEncoder

__all__ = ["Embedder", "FrozenEncoder", "Readout"]

"""Deposition of gas elements on maps, compiled: mass of cells and particles enters, sums per pixel leave.

Start with ``moments.py``, which calls ``neighbor_search.py`` (which elements reach which window) and ``deposit.py``
(adding an element to a window); ``cell.py`` and ``sph_kernel.py`` compute the fraction of an element in each pixel.
"""

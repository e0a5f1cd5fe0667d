"""Files to plain columns and back: FITS and HDF5 in, arrays with units, WCS and tables out.

Nothing here knows `GasMaps` or `MapSet`: `read_columns` returns the arguments of their constructors, `write_columns`
receives their attributes. Open `gas_maps_fits` first for fields on the sky, `map_set_hdf5` for sets of windows.
"""

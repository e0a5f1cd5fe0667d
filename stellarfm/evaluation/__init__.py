"""How well masses are predicted for stars, and clouds, that were never seen."""

"""gadget."""

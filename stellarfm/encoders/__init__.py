"""Encoders: images to one vector an image and one vector a patch.

`vit` holds the vision transformers, `resnet` the residual network, `weights` reads and writes their states.
Reach encoders through `stellarfm.registry`; importing this package loads neither torch nor timm.
"""

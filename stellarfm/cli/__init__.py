"""Command line: one short module per command, which parses arguments, calls one public function and reports.

Start with ``main.py``.
"""

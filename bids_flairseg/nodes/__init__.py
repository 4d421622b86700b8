"""Nipype interfaces: each opens, calls one function of the numeric core, saves."""

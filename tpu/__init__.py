"""Reaching TPU systems.  Imports TensorFlow only."""

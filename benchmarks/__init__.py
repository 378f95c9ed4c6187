"""What `make bench` measures: every part of a training step against a plain counterpart."""

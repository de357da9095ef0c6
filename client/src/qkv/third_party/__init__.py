"""Messages of other contracts under names of our own, wire-compatible: generated from protos/third_party."""

"""The contract, package `qkv.v1`: generated from protos/, do not edit. `make generate` writes it anew."""

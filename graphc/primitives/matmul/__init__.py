"""Matrix products: register tiles, packed operands, and BLAS as a yardstick."""

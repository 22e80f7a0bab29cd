"""The nodes, written once against the middleware port."""

"""What a node needs of the world around it: the port, and its adapters. A node is written once, against the port."""

"""Where frames come from and go to on disk: bags, imported data sets, training shards."""

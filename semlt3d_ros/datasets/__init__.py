"""Where frames come from: importers of data sets, and the shards that training reads."""

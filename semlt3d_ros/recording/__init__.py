"""What a vehicle records to learn from: a ring of its last seconds, triggers, events on disk."""

"""Archives carried elsewhere: some tasks fetched, or decoded into files again."""

"""The configuration file: schema, loading, advice, differences."""

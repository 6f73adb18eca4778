"""The TOML text of a spec with places: loaded, changed, and what is wrong with its syntax."""

"""What ftc knows of the world, a row a thing: presets, architectures, accelerators, optimizers, engines."""

"""The commands: composing a config, planning what it asks for, and running that in a process of its own."""

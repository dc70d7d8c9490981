"""What survives kills and failing disks: durable files, their digests, locks and stops. Imports no torch."""

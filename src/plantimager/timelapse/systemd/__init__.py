"""What a service reports to systemd: notices to the service manager, lines in the journal."""

"""timelapse-relay: the second service, which carries on what the store tells: datasets to PlantDB."""

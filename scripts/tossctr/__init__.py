"""The library behind the scripts: one package a stage, each importing only those below it."""

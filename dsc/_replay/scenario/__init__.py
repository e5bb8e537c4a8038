"""The stream of classes that an experiment learns from: pictures, folders, increments."""

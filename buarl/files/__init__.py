"""Files in and out: raw formats, converters, downloads, predictions of files."""

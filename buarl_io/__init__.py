"""Files in and out: raw formats, converters, downloads, predictions. `buarl` never imports it."""

"""A local web page that enhances a recording: `gense demo`."""

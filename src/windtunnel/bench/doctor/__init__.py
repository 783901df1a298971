"""What about this machine would spoil a measurement: tables of checks, each a function of the vitals."""

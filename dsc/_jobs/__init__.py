"""Where work runs: in this process, or on Ray on this machine or a cluster."""

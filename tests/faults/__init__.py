"""The real parts fail while somebody is live."""

# libeagre

"""DICOM's network protocol. pynetdicom is imported here only; `pdu` and `sender` do without it."""

// Everything on the page works without the viewer; the viewer comes last.
if (count) {
  startReadout();
  startSequence();
  startTables();
  startChainPlots();
  startTorsions();
  startMaps();
  startViewer();
}

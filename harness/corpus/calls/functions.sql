SELECT talon_station('till', 'anna'); SELECT talon_edit_begin('sale', 42); SELECT talon_edit_end('sale', 42);
SELECT talon_edit_release('sale', 42, 'main'); SELECT talon_dismiss('sale', 42); SELECT talon_baseline('sale', NULL);
SELECT talon_absorb('main'); SELECT talon_clock('2026-11-21T08:00:00+01:00'); SELECT talon_restore_all('sale', 'main');
SELECT talon_repair('r'); SELECT talon_daily(x'00'); SELECT talon_version(); SELECT talon_unguard('sale');
SELECT talon_site('ASOC', 'central'); SELECT talon_till('SELECT :user'); SELECT talon_load('BSOC', 'full'); SELECT talon_load(NULL, 'changes');

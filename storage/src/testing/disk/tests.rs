use rand::SeedableRng;

use super::*;

fn append(file: &mut Box<dyn NewFile>, bytes: &[u8]) -> io::Result<()> {
    file.append(&mut [IoSlice::new(bytes)])
}

fn read(disk: &Disk, path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    disk.open(path).ok()?.read_to_end(&mut bytes).unwrap();
    Some(bytes)
}

#[test]
fn a_crash_keeps_what_was_synced_and_any_part_of_the_rest() {
    let (dir, path) = (Path::new("/log"), Path::new("/log/1"));
    let (mut whole, mut nothing, mut without_file, mut with_hole) = (0, 0, 0, 0);
    for seed in 0..400 {
        let disk = Disk::default();
        let mut file = disk.create(path).unwrap();
        append(&mut file, b"synced").unwrap();
        file.sync().unwrap();
        let is_in_folder = seed % 2 == 0;
        if is_in_folder {
            disk.sync_dir(dir).unwrap();
        }
        append(&mut file, b"more").unwrap();
        let after = disk.after_crash(Power::default(), &mut SmallRng::seed_from_u64(seed));
        append(&mut file, b"from the dead").unwrap_err();
        match read(&after, path) {
            Some(bytes) => {
                assert!(bytes.starts_with(b"synced") && bytes.len() <= b"syncedmore".len());
                whole += usize::from(bytes == b"syncedmore");
                nothing += usize::from(bytes == b"synced");
                with_hole += usize::from(bytes.contains(&0));
            }
            None => {
                assert!(!is_in_folder);
                without_file += 1;
            }
        }
    }
    assert!([whole, nothing, without_file, with_hole].iter().all(|count| *count > 10));
}

#[test]
fn what_a_failed_sync_forgot_does_not_come_back_with_the_next() {
    let (disk, path) = (Disk::default(), Path::new("/log/1"));
    let mut file = disk.create(path).unwrap();
    disk.sync_dir(Path::new("/log")).unwrap();
    append(&mut file, b"lost").unwrap();
    disk.faults().plan(0, Fault::Refused);
    file.sync().unwrap_err();
    append(&mut file, b"kept").unwrap();
    file.sync().unwrap();
    assert_eq!(read(&disk, path).unwrap(), b"lostkept");
    let after = disk.after_crash(Power::default(), &mut SmallRng::seed_from_u64(1));
    assert_eq!(read(&after, path).unwrap(), b"\0\0\0\0kept");
}

#[test]
fn a_full_disk_takes_what_fits_and_more_when_there_is_room() {
    let (disk, path) = (Disk::default(), Path::new("/log/1"));
    let mut file = disk.create(path).unwrap();
    disk.set_free_bytes(Some(3));
    assert_eq!(append(&mut file, b"12345").unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(read(&disk, path).unwrap(), b"123");
    file.cut_back(1).unwrap();
    append(&mut file, b"45").unwrap();
    append(&mut file, b"6").unwrap_err();
    disk.set_free_bytes(None);
    append(&mut file, b"6").unwrap();
    assert_eq!(read(&disk, path).unwrap(), b"1456");
}
